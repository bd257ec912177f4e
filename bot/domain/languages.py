"""The languages that a server's admins can choose for what all read there, as Discord names them."""

from __future__ import annotations

from collections.abc import Mapping

# Each by its own name, which nobody translates.
LANGUAGES: Mapping[str, str] = {
    "en-US": "English",
    "de": "Deutsch",
    "fr": "Français",
    "es-ES": "Español",
    "pt-BR": "Português (Brasil)",
    "ja": "日本語",
}
