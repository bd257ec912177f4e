"""The proxies that the environment names, as other programs read them too."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from bot.errors import SettingsError


def proxy_for(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and the like name for an address; None if NO_PROXY excludes it, and for this machine.

    Raises SettingsError if the bot cannot use the proxy.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "").strip()
    if not proxy or _is_this_machine(parts.hostname or "") or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    named = proxy if "://" in proxy else f"http://{proxy}"
    try:
        target = urlsplit(named)
        usable = target.scheme in ("http", "https") and target.hostname and target.port != 0
    except ValueError:  # an invalid port
        usable = False
    if not usable:
        raise SettingsError("setting.proxy", name=f"{parts.scheme.upper()}_PROXY")
    return named


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
