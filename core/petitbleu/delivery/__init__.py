"""From claim to outcome: what a worker does with the events it has.

`worker` is the loop, `places` says how many events it may have and of which flows; `delivery` is the straight line that
each event goes, `consequences` says what becomes of it; `heartbeat` keeps leases, `stalls` keeps those that hang from
taking the places of the others. How much a provider is given is `throttle`'s, how a message is made and sent a
plugin's.
"""
