"""A channel to the daemon, as the environment says: see docs/security.md."""

import os
from pathlib import Path

import grpc


def connect(addr=None):
    """JUDGED_ADDR, with TLS where JUDGED_CLIENT_TLS_CA or JUDGED_CLIENT_TLS_CERT is set (PEM
    files), and with JUDGED_TOKEN, or the content of JUDGED_TOKEN_FILE, in each call.

    A token goes in plaintext to this machine alone: else ValueError.
    """
    addr = addr or os.environ.get("JUDGED_ADDR", "127.0.0.1:50551")
    ca, cert, key = (_file(f"JUDGED_CLIENT_TLS_{name}") for name in ("CA", "CERT", "KEY"))
    token = (_file("JUDGED_TOKEN_FILE") or os.environ.get("JUDGED_TOKEN", "").encode()).strip()
    if ca or cert:
        # Without an authority of one's own, those that grpcio carries.
        credentials = grpc.ssl_channel_credentials(ca, key, cert)
        if token:
            bearer = grpc.access_token_call_credentials(token.decode())
            credentials = grpc.composite_channel_credentials(credentials, bearer)
        return grpc.secure_channel(addr, credentials)
    channel = grpc.insecure_channel(addr)
    if not token:
        return channel
    if addr.rsplit(":", 1)[0] not in ("127.0.0.1", "[::1]", "localhost"):
        raise ValueError(f"the token would go to {addr} in the clear: set JUDGED_CLIENT_TLS_CA")
    return grpc.intercept_channel(channel, _Bearer(token.decode()))


def _file(name):
    path = os.environ.get(name)
    return Path(path).read_bytes() if path else None


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the token, which grpcio's own credentials do over TLS alone."""

    def __init__(self, token):
        self._header = ("authorization", f"Bearer {token}")

    def _call(self, proceed, details, request):
        metadata = [*(details.metadata or ()), self._header]
        return proceed(details._replace(metadata=metadata), request)

    intercept_unary_unary = _call
    intercept_unary_stream = _call
    intercept_stream_unary = _call
    intercept_stream_stream = _call
