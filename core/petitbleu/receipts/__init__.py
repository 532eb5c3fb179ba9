"""What providers and recipients say of a message after it was handed over, and how its event goes on by that.

`receipts` stores and applies, `matching` finds whose they are, `refining` knows what they mean; `decisions` lets an
event go another way. What a receipt looks like on the wire is the channel's.
"""
