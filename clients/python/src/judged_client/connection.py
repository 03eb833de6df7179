"""Where the daemon is, and how it knows us: see docs/security.md."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc


#: While a call is open: what waits for a host that is gone without a word ends as `Unavailable`.
KEEPALIVE = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # This is the one that grpcio's core goes by.
    ("grpc.http2.ping_timeout_ms", 10_000),
    # Else a stream on which nothing is sent stops asking after two pings.
    ("grpc.http2.max_pings_without_data", 0),
]

#: Of an address that names a scheme and no port.
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Connection:
    """What is None is as the environment says: JUDGED_ADDR, JUDGED_CLIENT_TLS_CA, _CERT and _KEY
    (PEM files), and JUDGED_TOKEN, or the content of JUDGED_TOKEN_FILE.

    An address is `host:port`, or a URL: TLS is spoken with https://, and not with http://. Without
    either it is spoken where there is a `ca` or a `cert`. Without a `ca`, the authorities are those
    that grpcio carries.
    """

    addr: str | None = None
    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    token: str | None = None
    attempts: int = 5

    def target(self) -> str:
        """`host:port`. ValueError where the address is none."""
        return self._place()[1]

    def credentials(self) -> grpc.ChannelCredentials | None:
        """None for plaintext. OSError where a file cannot be read."""
        ca = _file(self.ca, "JUDGED_CLIENT_TLS_CA")
        cert = _file(self.cert, "JUDGED_CLIENT_TLS_CERT")
        key = _file(self.key, "JUDGED_CLIENT_TLS_KEY")
        scheme, _ = self._place()
        secure = scheme == "https" if scheme else ca or cert
        return grpc.ssl_channel_credentials(ca, key, cert) if secure else None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The token, for each call. It goes in plaintext to this machine alone: else ValueError."""
        token = self.token
        if token is None:
            kept = _file(None, "JUDGED_TOKEN_FILE")
            token = kept.decode() if kept else os.environ.get("JUDGED_TOKEN", "")
        if not token.strip():
            return ()
        if not self._is_here() and self.credentials() is None:
            raise ValueError(
                f"the token would go to {self.target()} in the clear: "
                "give `ca`, or an address with https://"
            )
        return (("authorization", f"Bearer {token.strip()}"),)

    def options(self) -> list[tuple[str, str | int]]:
        """A call that met no daemon, or a full one, is sent again: after some 0.5 s, 1 s, 2 s and
        4 s, as long as its deadline allows. That is safe, since each has a request id; a report is
        not sent again, since each counts."""
        policy = {
            "maxAttempts": self.attempts,
            "initialBackoff": "0.5s",
            "maxBackoff": "5s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
        }
        judge = {"service": "judge.v1.JudgeService", "method": "Judge"}
        methods = [{"name": [judge], "retryPolicy": policy}] if self.attempts > 1 else []
        # gRPC would go through the environment's proxy to this machine too.
        no_proxy = [("grpc.enable_http_proxy", 0)] if self._is_here() else []
        return [
            ("grpc.service_config", json.dumps({"methodConfig": methods})),
            # Else it is a second and more until an address that failed is tried again.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
            *KEEPALIVE,
            *no_proxy,
        ]

    def _is_here(self) -> bool:
        return self.target().rsplit(":", 1)[0] in ("127.0.0.1", "[::1]", "localhost")

    def _place(self) -> tuple[str | None, str]:
        """The scheme, where the address names one, and `host:port`."""
        addr = self.addr or os.environ.get("JUDGED_ADDR", "127.0.0.1:50551")
        if "://" not in addr:
            return None, addr
        url = urlsplit(addr)
        if url.scheme not in PORTS:
            raise ValueError(f"`{addr}` is no address: its scheme is neither http nor https")
        if not url.hostname:
            raise ValueError(f"`{addr}` is no address: it names no host")
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        return url.scheme, f"{host}:{url.port or PORTS[url.scheme]}"


def _file(path: str | Path | None, variable: str) -> bytes | None:
    path = path or os.environ.get(variable)
    return Path(path).read_bytes() if path else None
