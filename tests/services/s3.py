"""One request to S3, signed as Amazon's version 4 has it: s3.py METHOD URL KEY SECRET [BODY [NAME:VALUE...]].

Prints the status and what was answered. Fails only if nobody answers."""

import base64
import datetime
import hashlib
import hmac
import sys
import urllib.error
import urllib.parse
import urllib.request


def signed(method, url, key, secret, body=b"", more=(), region="us-east-1"):
    at = urllib.parse.urlsplit(url)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": at.netloc, "x-amz-content-sha256": digest, "x-amz-date": now}
    headers.update((name.lower(), value) for name, value in more)
    if body:
        headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        headers["content-type"] = "application/octet-stream"
    names = ";".join(sorted(headers))
    pairs = sorted(urllib.parse.parse_qsl(at.query, keep_blank_values=True))
    query = "&".join(f"{urllib.parse.quote(n, safe='')}={urllib.parse.quote(v, safe='')}" for n, v in pairs)
    lines = [method, at.path, query, *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest]
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
    method, url, key, secret, *rest = sys.argv[1:]
    body = rest[0].encode() if rest else b""
    more = [header.split(":", 1) for header in rest[1:]]
    try:
        with urllib.request.urlopen(signed(method, url, key, secret, body, more), timeout=120) as answer:
            print(answer.status, answer.read().decode(errors="replace"))
    except urllib.error.HTTPError as refusal:
        print(refusal.code, refusal.read().decode(errors="replace"))


main()
