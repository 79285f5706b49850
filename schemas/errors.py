"""What can go wrong, as a tree. The docstring is the default message.

HubError
├── DecodeError      bad bytes from outside: counted, kept for inspection, never fatal
├── CommandError     a person's command cannot be done: says why (is a DecodeError)
├── TopicError       a topic outside the grammar (is a DecodeError)
├── CareError        a stay, duty or ladder cannot be so
├── SettingsError    a settings, sites or pack file is wrong: start-up stops
├── RecordingError   a recording cannot be read: names file, line and column
├── BrokerError      the broker refused or was lost
└── StoreError       the database refused what it was given
"""


class HubError(Exception):
    """Something the hub was told to do could not be done."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").splitlines()[0])


class DecodeError(HubError):
    """A message could not be decoded.

    ``reason`` is a short stable word for counting, the message names the field and the fix.
    """

    def __init__(self, reason: str, message: str, device: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.device = device


class TopicError(DecodeError):
    """A topic does not follow the grammar."""


class CommandError(DecodeError):
    """What a person asked for cannot be done."""

    def __init__(self, message: str) -> None:
        super().__init__("command", message)


class CareError(HubError):
    """A stay, a bed's state, duty or a ladder cannot be so."""


class SettingsError(HubError):
    """A settings, sites or pack file is wrong."""


class RecordingError(HubError):
    """A recording cannot be read."""


class BrokerError(HubError):
    """The broker refused or was lost."""


class StoreError(HubError):
    """The database refused what it was given."""
