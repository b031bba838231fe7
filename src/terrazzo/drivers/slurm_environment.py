"""What jobs of Slurm are given of the environment in which they are submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPORTED: Final = (
    # Where programs, libraries and the user's files are, and how text is written.
    "PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX",
    "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME",
    "NUMBA_CACHE_DIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
    # Which catalogue is read, and how code of users is run.
    "TERRAZZO_HOME", "TERRAZZO_CATALOG",
    "TERRAZZO_UDF", "TERRAZZO_UDF_LIMITS", "TERRAZZO_UDF_ENVIRONMENTS",
    # Buckets, and the way to them.
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_NO_SIGN_REQUEST", "AWS_CA_BUNDLE",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
    # Formats and projections.
    "GDAL_DATA", "GDAL_DRIVER_PATH", "GDAL_CACHEMAX", "PROJ_DATA", "PROJ_LIB",
)  # fmt: skip
"""Names of variables; Slurm adds its own. Whoever submits may be a server, whose environment has
passwords that are for no node: of the ledger, of identity providers, of whatever else runs there.
"""
PROXIES: Final = (
    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy",
    "NO_PROXY", "no_proxy",
)  # fmt: skip
"""Names of variables that say how the network outside is reached, and what lies inside."""


def exported(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the variables that jobs are given.

    Proxies are among them where their addresses are a host and a port and nothing else: a name, a
    password or a token would be seen by all who may look at the jobs.

    Args:
        environment: of whoever submits.
    """
    ways = (name for name in PROXIES if name in environment and _is_plain(name, environment[name]))
    return (*EXPORTED, *ways)


def _is_plain(name: str, value: str) -> bool:
    """Tell whether the address of a proxy is a host and a port alone; a list of hosts always is."""
    if name.lower() == "no_proxy":
        return "@" not in value
    try:
        found = urlsplit(value if "://" in value else f"//{value}")
    except ValueError:
        return False
    more = (found.username, found.password, found.path.strip("/"), found.query, found.fragment)
    return not any(more)
