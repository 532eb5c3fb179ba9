"""The one door in: what callers send is read, checked whole, and stored or refused.

`intake` is the door, `gate` the same for plugins that fetch events; `contract` is what an event type demands,
`eventjson` and `eventxml` are forms that every way in shares. How a request comes, and what it is answered, is the way
in's own: a plugin.
"""
