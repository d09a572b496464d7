"""The errors that a user can meet, in one tree.

``WeightwalkError``
    ├── ``UsageError``        the request cannot be served as it stands (exit code 2)
    │     ├── ``AddressError``     no value has that address
    │     ├── ``NotKeptError``     the record has the step, but its numbers were not kept
    │     └── ``OverwrittenError`` memory held by reference was changed after the recording
    └── ``RecordError``       a file is truncated or not a walk (exit code 2)
          └── ``DamagedError``   its digests do not match (exit code 1 from ``weightwalk verify``, else 2)

Each message is one sentence or two: what was received, what was expected, the likely cause, the cure.
"""

from __future__ import annotations


class WeightwalkError(Exception):
    """Anything that Weightwalk refuses, with a message meant for the person at the keyboard."""


class UsageError(WeightwalkError):
    """The request cannot be served as it stands."""


class AddressError(UsageError):
    """No value of the walk has that address."""


class NotKeptError(UsageError):
    """The step is recorded, its numbers are not (see ``keep=``)."""


class OverwrittenError(UsageError):
    """A tensor that the walk holds by reference was changed after the recording."""


class RecordError(WeightwalkError):
    """A file is damaged, truncated, or not a walk."""


class DamagedError(RecordError):
    """A walk was changed after it was saved: its bytes do not match their digests."""
