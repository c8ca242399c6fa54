"""API keys: several, each with a name, from the environment. Ray's own tokens do not protect Serve's port."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from longtail.errors import InputError
from longtail.serving.edge.request_record import current_record
from longtail.serving.messages.problems import problem

ENVIRONMENT = "LONGTAIL_API_KEYS"
"""`NAME=KEY,NAME=KEY`. A name may stand there twice, so that a key can be replaced while clients still use the old one."""
SHORTEST = 16

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_KEY = re.compile(rf"[\x21-\x2b\x2d-\x7e]{{{SHORTEST},256}}")
_QUERY = {"key", "api-key", "apikey", "api_key", "x-api-key", "access_token", "token"}


class Keys:
    """The names and SHA-256 digests of all keys. The keys themselves are not kept."""

    def __init__(self, digests: Iterable[tuple[str, bytes]]) -> None:
        self._digests = tuple(digests)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self._digests))

    def name_of(self, presented: bytes) -> str | None:
        """The name of a key, None if there is no such key. It takes as long for every `presented` of one length."""
        digest, found = hashlib.sha256(presented).digest(), None
        for name, known in self._digests:
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def __repr__(self) -> str:
        return f"Keys({', '.join(self.names)})"


def read_keys(environment: Mapping[str, str]) -> Keys | None:
    """The keys of the environment; None if the variable is not set.

    Raises InputError that names the entry by its number and never shows a key.
    """
    text = environment.get(ENVIRONMENT)
    if text is None:
        return None
    digests: dict[bytes, str] = {}
    for number, entry in enumerate(filter(None, re.split(r"[,\s]+", text)), start=1):
        name, equals, key = entry.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise InputError(
                f"{ENVIRONMENT}: entry {number} is not NAME=KEY, with a name of a-z, 0-9, '.', '_' or '-', up to 32 long"
            )
        if not _KEY.fullmatch(key):
            raise InputError(
                f"{ENVIRONMENT}: the key of '{name}' (entry {number}) needs {SHORTEST} to 256 visible ASCII characters"
                " without a comma; `openssl rand -hex 32` makes one"
            )
        digest = hashlib.sha256(key.encode()).digest()
        if digests.setdefault(digest, name) != name:
            raise InputError(
                f"{ENVIRONMENT}: '{digests[digest]}' and '{name}' have the same key; give each its own"
            )
    if not digests:
        raise InputError(
            f"{ENVIRONMENT} is set and names no key. Give NAME=KEY, or unset it to serve this machine only"
        )
    return Keys((name, digest) for digest, name in digests.items())


def needed_keys(host: str | None, environment: Mapping[str, str]) -> Keys | None:
    """The keys of a server that listens on `host`; None, so no key is asked for, only on this machine's own address.

    Raises InputError if somebody else could reach the server and there is no key, and as `read_keys` does.
    """
    keys = read_keys(environment)
    if keys is None and not _is_loopback(host):
        raise InputError(
            f"the server listens on {host}, so everybody who reaches this machine could ask it: set {ENVIRONMENT}="
            "NAME=KEY for all nodes (`openssl rand -hex 32` makes a key), or let it listen on 127.0.0.1"
        )
    return keys


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:  # another name
        return False


class KeyCheck:
    """Lets a request with a key through, and notes the key's name. Anything else is 401, but for the open paths.

    keys: None if this server needs none, because it listens to its own machine only.
    """

    def __init__(self, app: ASGIApp, keys: Keys | None, open_paths: frozenset[str]) -> None:
        self.app, self.keys, self.open_paths = app, keys, open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.keys is None or scope["path"] in self.open_paths:
            return await self.app(scope, receive, send)
        if refusal := self._refusal(scope, self.keys):
            headers = {"www-authenticate": 'Bearer realm="longtail"'}
            return await problem(401, refusal, headers=headers)(scope, receive, send)
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope, keys: Keys) -> str | None:
        """Why the request must not pass; None if it may. Notes the name of its key."""
        if scope["query_string"] and self._in_query(scope["query_string"], keys):
            return "A key in the query ends up in logs and histories: send it as the header X-API-Key, and replace this key."
        presented = [key for name, value in scope["headers"] if (key := _presented(name, value)) is not None]
        if len(presented) != 1:
            return "Send one key, as the header X-API-Key or as Authorization: Bearer."
        name = keys.name_of(presented[0])
        if name is None:
            return "This key is not known here."
        current_record().key = name
        return None

    @staticmethod
    def _in_query(query: bytes, keys: Keys) -> bool:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        return any(
            name.lower() in _QUERY or keys.name_of(value.encode(errors="replace")) is not None
            for name, value in fields
        )


def _presented(name: bytes, value: bytes) -> bytes | None:
    if name == b"x-api-key":
        return value
    if name == b"authorization":
        scheme, _, credentials = value.partition(b" ")
        return credentials.strip() if scheme.lower() == b"bearer" else b""
    return None
