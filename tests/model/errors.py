"""The errors of the public API, by the names and the kinship that it gives them."""


class LeasedKeyQError(Exception):
    pass


class KeyAlreadyInFlightError(LeasedKeyQError):
    pass


class InvalidLeaseError(LeasedKeyQError):
    pass


class LeaseExpiredError(InvalidLeaseError):
    pass


class LeaseAlreadyAcknowledgedError(LeasedKeyQError):
    pass


class QueueClosedError(LeasedKeyQError):
    pass
