"""The calls of the API, by what they are for."""

from trine.service.routes import asking, calibration, changing, listing, system

ROUTERS = (system.router, listing.router, asking.router, changing.router, calibration.router)

__all__ = ["ROUTERS"]
