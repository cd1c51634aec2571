"""The managed warehouse of an org: asked of the provisioner, then a connection like others."""
