"""Makes a container: make-container.py URL ACCOUNT KEY. Signs with Azure's shared key."""

import base64
import datetime
import hashlib
import hmac
import sys
import urllib.parse
import urllib.request

VERSION = "2021-12-02"


def main():
    url, account, key = sys.argv[1:]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": now, "x-ms-version": VERSION}
    path = urllib.parse.urlsplit(url).path
    canonical = [f"{name}:{headers[name]}" for name in sorted(headers)]
    text = "\n".join(["PUT", *[""] * 11, *canonical, f"/{account}{path}", "restype:container"])
    mac = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(mac).decode()}"
    request = urllib.request.Request(f"{url}?restype=container", method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(answer.status)


main()
