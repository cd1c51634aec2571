"""The demo: the product's main job on a real data set, as a client of the public REST API.

It must not know the control plane's code or database: what it does, a user can do with curl.
"""
