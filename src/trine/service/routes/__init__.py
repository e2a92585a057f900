"""The calls of the API, by what they are for."""

from trine.service.routes import asking, calibration, changing, jobs, listing, review, system

# The calls that programs send most come first: a request is compared with each route in turn.
ROUTERS = (
    *(asking.router, changing.router, listing.router, system.router),
    *(calibration.router, jobs.router, review.router),
)

__all__ = ["ROUTERS"]
