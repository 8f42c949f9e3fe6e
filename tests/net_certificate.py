"""A certificate for localhost and 127.0.0.1 that signs itself; its key protects nothing."""

from __future__ import annotations

import ssl
from pathlib import Path

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZ3T5mPq6cN48Iow4
qkO0Jjke2NZ0fPLMIDRM+N3WNuyhRANCAAS95KH62FoOK8Wena/UXMddqosG13ha
ufFwEspwHvc/f5FYAIptVE9gXwarXsCFd8flZNz3MxpinMNir/MZAU0t
-----END PRIVATE KEY-----
"""
OTHER_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6xetox5pBCy6sN23
/NN2sEH52JjARr+xwbWuJiXcxS6hRANCAAT7KLiRlbc+T43ZP7TFQVY7fagzP8y9
h3dzf18Yu/mvTu3zwtyGLjlSvxMR4RQpvduS64MXeLYZIuB2dd1ObOfA
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEwMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABL3kofrYWg4rxZ6d
r9Rcx12qiwbXeFq58XASynAe9z9/kVgAim1UT2BfBqtewIV3x+Vk3PczGmKcw2Kv
8xkBTS2jXjBcMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQUDNKiiAlqj+mdnxtfUlyo
7bkEFIgwCgYIKoZIzj0EAwIDRwAwRAIgAnFrsker6KdmljMRN+w86GEGmeqwObuX
gLTJ86jo34sCIEVIq2FMnQl1+zaXFciRH1Dn7pwFH62D79t9LMtFD1Mo
-----END CERTIFICATE-----
"""


def write(folder: Path) -> tuple[Path, Path]:
    """The certificate and its key as files."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_text(CERTIFICATE)
    key.write_text(KEY)
    return cert, key


def trusting() -> ssl.SSLContext:
    """The context of a client that knows this certificate."""
    return ssl.create_default_context(cadata=CERTIFICATE)
