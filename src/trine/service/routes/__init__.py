"""The calls of the API, by what they are for."""

from trine.service.routes import asking, calibration, changing, jobs, listing, review, system

ROUTERS = (
    *(system.router, listing.router, asking.router, changing.router),
    *(calibration.router, jobs.router, review.router),
)

__all__ = ["ROUTERS"]
