"""Against Perl's Net::SMPP as SMSC, a stack that has nothing to do with the other one."""

from __future__ import annotations

from typing import Any

from petitbleu import Delivered, ReceiptState
from petitbleu_sms.alphabet import encode_gsm

pytest_plugins = ("sms_parts",)

LONG = "Grüße aus Köln, dies ist eine lange Nachricht mit € und {Klammern}. " * 5


async def test_messages_and_receipts(perl_smsc: Any, messenger: Any, send: Any, core: Any) -> None:
    if perl_smsc is None:
        # the report on real parts says so
        return
    async with perl_smsc() as (smsc, port):
        async with messenger(port, system_id="petit", password="s3cret", user_message_reference=True) as state:
            first = await send(state, text="Hallo, 5 €", sender="Shop")
            second = await send(state, text=LONG, sender="+33600000000", concatenation="udh")
            assert isinstance(first, Delivered)
            assert first.awaits == ("4711001",)
            assert isinstance(second, Delivered)
            assert second.awaits == ("4711002", "4711003", "4711004")
            receipts = await core.until_receipts(4)
            await smsc.wait_for(lambda one: one == ["acknowledged", "0"], 4)
        await smsc.wait_for(lambda one: one == ["unbind"])
    assert [one for one in smsc.seen if one[0] == "bind"] == [["bind", "petit", "s3cret", "52"]]
    assert [one.names[0] for one in receipts] == ["4711001", "4711002", "4711003", "4711004"]
    assert {one.state for one in receipts} == {ReceiptState.RECEIVED}
    single, *parts = [one[1:] for one in smsc.seen if one[0] == "submit"]
    assert single[:5] == ["Shop", "33612345678", "0", "0", "1"]
    assert bytes.fromhex(single[5]) == b"Hallo, 5 \x1be"
    assert [one[0] for one in parts] == ["33600000000"] * 3
    # 0x40: a user data header
    assert [one[2] for one in parts] == ["64"] * 3
    texts = [bytes.fromhex(one[5]) for one in parts]
    assert [text[:3] + text[4:6] for text in texts] == [bytes((5, 0, 3, 3, number)) for number in (1, 2, 3)]
    assert b"".join(text[6:] for text in texts) == encode_gsm(LONG.strip())
    assert len({one[6] for one in (single, *parts)}) == 4
