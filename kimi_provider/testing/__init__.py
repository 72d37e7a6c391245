"""A simulator of Kimi, SendGrid and a data API, for testing DAGs without keys, network or cost.

Importing this costs the standard library and msgspec; the server is imported when it starts.
"""

from kimi_provider.testing.calls import Call, Calls
from kimi_provider.testing.faults import Fault, Faults
from kimi_provider.testing.mailbox import Mail, MailAttachment, Mailbox
from kimi_provider.testing.server import Simulator

__all__ = ["Call", "Calls", "Fault", "Faults", "Mail", "MailAttachment", "Mailbox", "Simulator"]
