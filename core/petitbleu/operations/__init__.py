"""What operators do to events that are stored.

`verdicts` says whether it can be done, `operations` does it, `rerouting` sends by another channel. How many events one
request may name, and what is shown of them, is seen to in `desk/`.
"""
