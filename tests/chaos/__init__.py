"""Kills each part of a running stack at random moments and looks at what is left (`make chaos`)."""
