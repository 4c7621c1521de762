"""Request lines and `Host` headers: which resource a request asks for, and on which host."""

from edge.case import HOST, SMUGGLED, Case, Passes, Refused, head

PASSING_LINES = {
    "a path": ("GET /case HTTP/1.1", "GET /case HTTP/1.1"),
    "a query": ("GET /case?a=b&c=d%20e HTTP/1.1", "GET /case?a=b&c=d%20e HTTP/1.1"),
    "dots stay": ("GET /a/../case HTTP/1.1", "GET /a/../case HTTP/1.1"),
    "encoded dots stay": ("GET /a/%2e%2e/case HTTP/1.1", "GET /a/%2e%2e/case HTTP/1.1"),
    "two slashes stay": ("GET //evil.test/case HTTP/1.1", "GET //evil.test/case HTTP/1.1"),
    "an encoded line end stays encoded": ("GET /case%0d%0ax:%20y HTTP/1.1", "GET /case%0d%0ax:%20y HTTP/1.1"),
    "an encoded NUL stays encoded": ("GET /case%00 HTTP/1.1", "GET /case%00 HTTP/1.1"),
    "an encoded slash stays encoded": ("GET /case%2fx HTTP/1.1", "GET /case%2fx HTTP/1.1"),
    "a broken escape stays": ("GET /case%zz HTTP/1.1", "GET /case%zz HTTP/1.1"),
    "a colon in the path": ("GET /case:8 HTTP/1.1", "GET /case:8 HTTP/1.1"),
    "an at sign in the path": ("GET /@evil.test/case HTTP/1.1", "GET /@evil.test/case HTTP/1.1"),
    "a method of one's own": ("PROPFIND /case HTTP/1.1", "PROPFIND /case HTTP/1.1"),
    "a method with a dash": ("M-SEARCH /case HTTP/1.1", "M-SEARCH /case HTTP/1.1"),
    "a method in small letters is another": ("get /case HTTP/1.1", "get /case HTTP/1.1"),
    "an empty line in front": ("\r\nGET /case HTTP/1.1", "GET /case HTTP/1.1"),
    "TRACE": ("TRACE /case HTTP/1.1", "TRACE /case HTTP/1.1"),
    "OPTIONS": ("OPTIONS /case HTTP/1.1", "OPTIONS /case HTTP/1.1"),
    "a fragment is left out": ("GET /case#x HTTP/1.1", "GET /case HTTP/1.1"),
    "HTTP/1.0": ("GET /case HTTP/1.0", "GET /case HTTP/1.1"),
    "an absolute target": ("GET http://h.test/case?q HTTP/1.1", "GET /case?q HTTP/1.1"),
    "an absolute target in capitals": ("GET HTTP://H.TEST/case HTTP/1.1", "GET /case HTTP/1.1"),
    "an absolute target of https": ("GET https://h.test/case HTTP/1.1", "GET /case HTTP/1.1"),
    "an absolute target without a path": ("GET http://h.test HTTP/1.1", "GET / HTTP/1.1"),
    "an absolute target with a query alone": ("GET http://h.test?q HTTP/1.1", "GET /?q HTTP/1.1"),
    "an absolute target with a port": ("GET http://h.test:81/case HTTP/1.1", "GET /case HTTP/1.1"),
}

REFUSED_LINES = {
    "no version": "GET /case",
    "no version, a space": "GET /case ",
    "no target": "GET HTTP/1.1",
    "nothing but a method": "GET",
    "an empty target": "GET  HTTP/1.1",
    "HTTP/0.9": "GET /case HTTP/0.9",
    "HTTP/1.2": "GET /case HTTP/1.2",
    "HTTP/1.10": "GET /case HTTP/1.10",
    "HTTP/2.0": "GET /case HTTP/2.0",
    "HTTP/2": "GET /case HTTP/2",
    "HTTP/3.0": "GET /case HTTP/3.0",
    "HTTP/1": "GET /case HTTP/1",
    "HTTP/1.": "GET /case HTTP/1.",
    "HTTP/.1": "GET /case HTTP/.1",
    "HTTP/1,1": "GET /case HTTP/1,1",
    "HTTP/01.1": "GET /case HTTP/01.1",
    "HTTP/ 1.1": "GET /case HTTP/ 1.1",
    "a version in small letters": "GET /case http/1.1",
    "another protocol": "GET /case RTSP/1.0",
    "text behind the version": "GET /case HTTP/1.1 x",
    "a space behind the version": "GET /case HTTP/1.1 ",
    "a space in front": " GET /case HTTP/1.1",
    "a tab in front": "\tGET /case HTTP/1.1",
    "two spaces before the target": "GET  /case HTTP/1.1",
    "two spaces behind the target": "GET /case  HTTP/1.1",
    "a tab between": "GET\t/case HTTP/1.1",
    "a tab behind the target": "GET /case\tHTTP/1.1",
    "a vertical tab between": "GET\x0b/case HTTP/1.1",
    "a space in the target": "GET /case x HTTP/1.1",
    "a NUL in the target": "GET /case\0 HTTP/1.1",
    "a CR in the target": "GET /case\rx HTTP/1.1",
    "an escape in the target": "GET /case\x1b[2J HTTP/1.1",
    "a DEL in the target": "GET /case\x7f HTTP/1.1",
    "a NUL in the method": "G\0ET /case HTTP/1.1",
    "a colon in the method": "GET: /case HTTP/1.1",
    "a slash in the method": "G/T /case HTTP/1.1",
    "a comma in the method": "G,T /case HTTP/1.1",
    "a quote in the method": 'G"T /case HTTP/1.1',
    "a bracket in the method": "G(T /case HTTP/1.1",
    "an umlaut in the method": "G\xe4T /case HTTP/1.1",
    "an at sign for a target": "GET @evil.test/case HTTP/1.1",
    "a relative target": "GET case HTTP/1.1",
    "a query alone": "GET ?case HTTP/1.1",
    "an authority": "GET h.test:80 HTTP/1.1",
    "a star": "GET * HTTP/1.1",
    "a star for a POST": "POST * HTTP/1.1",
    "a file": "GET file:///etc/passwd HTTP/1.1",
    "ftp": "GET ftp://h.test/case HTTP/1.1",
    "gopher": "GET gopher://h.test/case HTTP/1.1",
    "javascript": "GET javascript:alert(1) HTTP/1.1",
    "a scheme alone": "GET http:///case HTTP/1.1",
    "a scheme without slashes": "GET http:case HTTP/1.1",
    "a user in the target": "GET http://user:pw@h.test/case HTTP/1.1",
    "a bad port in the target": "GET http://h.test:80x/case HTTP/1.1",
    "a large port in the target": "GET http://h.test:99999/case HTTP/1.1",
}

TUNNELS = {
    "CONNECT": "CONNECT h.test:80 HTTP/1.1",
    "CONNECT to the inside": "CONNECT 127.0.0.1:22 HTTP/1.1",
    "CONNECT to a path": "CONNECT /case HTTP/1.1",
    "CONNECT to an absolute target": "CONNECT http://h.test/case HTTP/1.1",
    "CONNECT to nowhere": "CONNECT * HTTP/1.1",
}

PASSING_HOSTS = ["h", "h.test:8080", "h.test:", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80", "a_b.test", "xn--a.test"]
REFUSED_HOSTS = {
    "empty": "host:",
    "spaces": "host:   ",
    "a list": "host: a, b",
    "a list without a space": "host: a,b",
    "two names": "host: h evil",
    "a path": "host: a/b",
    "a backslash": "host: a\\b",
    "a query": "host: a?b",
    "a fragment": "host: a#b",
    "a user": "host: u@h",
    "a user and a word": "host: u:p@h",
    "a scheme": "host: http://h",
    "letters for a port": "host: h:80x",
    "a sign in the port": "host: h:+80",
    "a large port": "host: h:70000",
    "a huge port": "host: h:99999999999999999999",
    "two ports": "host: h:80:80",
    "a port alone": "host: :80",
    "an open bracket": "host: [::1",
    "a closed bracket": "host: ::1]",
    "no brackets": "host: ::1",
    "a NUL": "host: h\0evil",
    "a tab": "host: h\tevil",
    "a CR": "host: h\revil",
    "an umlaut": "host: h\xe4",
    "quotes": 'host: "h"',
    "angle brackets": "host: <h>",
    "a dollar brace": "host: ${h}",
    "two alike": "host: h\r\nhost: h",
    "two that differ": "host: a\r\nHost: b",
    "a space before the colon": "host : h",
    "folded": "host:\r\n h",
    "far apart": "host: a\r\nx: 1\r\nHOST: b",
}


def cases():
    for name, (line, seen) in PASSING_LINES.items():
        yield Case(f"line, {name}", head(line), Passes(line=seen))
    for name, line in REFUSED_LINES.items():
        yield Case(f"line, {name}", head(line) + SMUGGLED, Refused((400, 501, 505)))
    for name, line in TUNNELS.items():
        yield Case(f"line, {name}", head(line) + b"\x16\x03\x01", Refused((400, 405)))
    yield Case("line, 100 KB", head(f"GET /{'a' * 100_000} HTTP/1.1"), Refused((400, 414, 431)))
    yield Case("line, a method of 100 KB", head(f"{'A' * 100_000} /case HTTP/1.1"), Refused((400, 414, 431)))
    yield Case("line, a NUL alone", b"\0" * 32 + b"\r\n\r\n", Refused())
    yield Case("line, a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", Refused())
    yield Case("line, an answer", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Refused())
    # `OPTIONS *` asks about the server itself, so no route matches it.
    yield Case("line, OPTIONS of the server", head("OPTIONS * HTTP/1.1"), Refused((404,), may_go_on=True))
    for host in PASSING_HOSTS:
        yield Case(f"host, {host}", head(host=f"host: {host}"), Passes(fields={"host": host}))
    for name, lines in REFUSED_HOSTS.items():
        yield Case(f"host, {name}", head(host=lines) + SMUGGLED, Refused())
    yield Case("host, none", head(host=None) + SMUGGLED, Refused())
    target = "GET http://a.test/case HTTP/1.1"
    yield Case("host, the target's wins", head(target, host="host: b.test"), Passes(fields={"host": "a.test"}))
    yield Case("host, bad beside a target", head(target, host="host: a b") + SMUGGLED, Refused())
    yield Case("host, none beside a target", head(target, host=None) + SMUGGLED, Refused())
    yield Case("host, two beside a target", head(target, HOST) + SMUGGLED, Refused())
    yield Case("host, none in HTTP/1.0", head("GET /case HTTP/1.0", host=None), Passes(closes=True))
