"""Reading YAML with one-line errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fedjax_rl.errors import InvalidInput


def read_yaml(field: str, path: Path) -> Any:
    """The document in a YAML file.

    Raises:
        InvalidInput: under ``field``; no such file, or it is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(field, path, "a readable YAML file") from None
    except yaml.YAMLError as error:
        raise InvalidInput(field, path, f"valid YAML ({str(error).splitlines()[0]})") from None
