"""Error rates for tests that do not measure any."""

from trine.rates import Promise


def promise(rate=0.01, *, name="far", state="firm", estimate=None, interval=None, identities=400):
    """A promise whose interval fits its state."""
    estimate = rate / 2 if estimate is None else estimate
    high = rate if state == "firm" else min(1.0, 3 * rate)
    return Promise(name, rate, state, estimate, interval or (estimate / 2, high), identities)
