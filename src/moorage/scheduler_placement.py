"""Where Modal would place a container.

Owns `SchedulerPlacement`, which is checked and kept without effect in this process, and the check
of ``region``, which ``declaring/cloud_arguments.py`` calls.
"""

from __future__ import annotations

from collections.abc import Sequence

from .arguments import InvalidArgumentsError, iterated, lenient, unchecked


class SchedulerPlacement:
    """Regions, a zone, whether to use spot instances, and types of instances.

    Raises:
        InvalidError: also a TypeError; if an argument has a wrong type.
    """

    def __init__(
        self,
        region: str | Sequence[str] | None = None,
        zone: str | None = None,
        spot: bool | None = None,
        instance_type: str | Sequence[str] | None = None,
    ) -> None:
        check_regions("region", region)
        check_regions("instance_type", instance_type)
        if zone is not None and not isinstance(unchecked(zone), str):
            raise InvalidArgumentsError(f'zone must be a str, got {zone!r}; write zone="a"')
        if spot is not None and not isinstance(unchecked(spot), bool):
            lenient(f"spot must be True or False, got {spot!r}; write spot=True")
        self.region = region
        self.zone = zone
        self.spot = spot
        self.instance_type = instance_type

    def __repr__(self) -> str:
        return (
            f"SchedulerPlacement(region={self.region!r}, zone={self.zone!r}, "
            f"spot={self.spot!r}, instance_type={self.instance_type!r})"
        )


def check_regions(name: str, value: object) -> None:
    """Check regions: None, a str, or an iterable of str.

    Raises:
        InvalidError: for anything else; also a TypeError, as in Modal.
    """
    if value is None or isinstance(value, str):
        return
    advice = f'write {name}="us-east" or {name}=["us-east", "us-west"]'
    for each in iterated(name, value, advice):
        if not isinstance(each, str):
            raise InvalidArgumentsError(f"{name} must hold str, got {each!r}; {advice}")
