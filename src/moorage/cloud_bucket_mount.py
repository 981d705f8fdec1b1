"""Buckets of other clouds, mounted as directories.

Owns `CloudBucketMount`.  Functions accept it where they accept a volume.  In this process an empty
directory of the home is in the place of the bucket: see `local_path`, and ``running/mounts.py``.
As in Modal, the arguments are checked when a function takes the mount: see `check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from .arguments import InvalidArgumentsError, InvalidValueError, unchecked
from .secret import Secret
from .stores.home import directory_of, environment_of
from .stores.trees import parts_of


@dataclass
class CloudBucketMount:
    """A bucket to mount, and the credentials for it.

    Args:
        bucket_name: the name of the bucket.
        bucket_endpoint_url: the URL of a service other than AWS's.
        key_prefix: mount only objects under this prefix, which ends in ``/``.
        secret: a secret with the credentials of the bucket.
        oidc_auth_role_arn: a role to take instead of a secret.
        read_only: whether containers cannot write.
        requester_pays: whether the reader is billed; needs credentials.
        force_path_style: whether the bucket's name is in the path, not in the host.
    """

    bucket_name: str
    bucket_endpoint_url: str | None = None
    key_prefix: str | None = None
    secret: Secret | None = None
    oidc_auth_role_arn: str | None = None
    read_only: bool = False
    requester_pays: bool = False
    force_path_style: bool = False

    @property
    def local_path(self) -> Path:
        """The directory of this machine in the place of the bucket.  It is made if need be.

        moorage's own: Modal has no such attribute.  The directory does not have the objects of the
        bucket, and what is written there does not reach the bucket.

        Raises:
            InvalidError: if the `key_prefix` leaves the bucket.
        """
        name = quote(self.bucket_name, safe="").replace("%", "_").strip(".") or "_"
        bucket = directory_of(environment_of(None)) / "buckets" / name
        found = bucket.joinpath(*parts_of(self.key_prefix or ""))
        found.mkdir(parents=True, exist_ok=True)
        return found

    def check(self) -> None:
        """Check that the arguments go together.  Called when a function takes the mount.

        Raises:
            InvalidError: if they do not; also a TypeError or ValueError where Modal raises that.
        """
        if not isinstance(unchecked(self.bucket_name), str):
            raise InvalidArgumentsError(
                f"the bucket_name of a CloudBucketMount must be a str, got {self.bucket_name!r}; "
                'write CloudBucketMount("my-bucket")'
            )
        if self.requester_pays and self.secret is None:
            raise InvalidValueError(
                "a CloudBucketMount with requester_pays needs credentials; "
                'write secret=modal.Secret.from_name("my-secret")'
            )
        if self.key_prefix is not None and not self.key_prefix.endswith("/"):
            raise InvalidValueError(
                "the key_prefix of a CloudBucketMount must end in '/', "
                f"got {self.key_prefix!r}; write key_prefix={self.key_prefix + '/'!r}"
            )


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _CloudBucketMount = CloudBucketMount
