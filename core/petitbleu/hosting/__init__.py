"""Plugins in the core's house: found, loaded, called in time, and kept from harming each other and the rest.

`plugins` loads them and `calls` is how all else reaches them. Which hooks there are stands in `hookspecs`, what the
core answers itself in `answers`. Nothing here knows what an event needs.
"""
