"""Makes a bucket: make-bucket.py URL KEY SECRET. Signs as Amazon's version 4 has it."""

import datetime
import hashlib
import hmac
import sys
import urllib.parse
import urllib.request


def signed(method, url, key, secret, body=b"", region="us-east-1"):
    at = urllib.parse.urlsplit(url)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": at.netloc, "x-amz-content-sha256": digest, "x-amz-date": now}
    names = ";".join(sorted(headers))
    lines = [method, at.path, "", *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest]
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    hashed = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    mac = ("AWS4" + secret).encode()
    for part in [*scope.split("/"), "\n".join(["AWS4-HMAC-SHA256", now, scope, hashed])]:
        mac = hmac.new(mac, part.encode(), hashlib.sha256).digest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={mac.hex()}"
    )
    del headers["host"]
    return urllib.request.Request(url, data=body or None, method=method, headers=headers)


def main():
    url, key, secret = sys.argv[1:]
    with urllib.request.urlopen(signed("PUT", url, key, secret), timeout=30) as answer:
        print(answer.status)


main()
