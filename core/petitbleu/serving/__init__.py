"""An open instance as a server: its routes, its worker, and the processes that it runs in.

`app` is one process's, with `chores` in the background; `serving` puts it in the foreground, `supervisor` has several,
which `intercom` lets it talk to; `generations` takes over a changed configuration. `http` is what every request meets,
`scrape` what `/metrics` tells.
"""
