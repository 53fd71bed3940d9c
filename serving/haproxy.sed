# Changes HAProxy's configuration as Ray writes it (sed -E).

# Headers that trickle in hold a connection no longer than this, instead of an hour.
/^defaults$/a\
    timeout http-request 10s\
    unique-id-format %[uuid()]

# Ray answers a plain 500 while no replica is there or one is lost at work: it passes, so 503.
s|^([[:space:]]*)errorfile (50[234]) .*|\1http-error status \2 content-type application/problem+json lf-string '{"type":"urn:shelfcast:problem:no-replica","title":"Service Unavailable","status":503,"detail":"The forecast API is starting again; ask again in a few seconds.","instance":"%{-Q}[var(txn.path),json(utf8s)]","request_id":"%[unique-id]"}' hdr Retry-After 5 hdr X-Request-ID %[unique-id] hdr Cache-Control no-store hdr X-Content-Type-Options nosniff|

# Before the line that hands a request to the forecast API: 64 requests a replica (MAX_IN_FLIGHT of
# serving/deploy.py) are the most at once; pages and probes always pass. What a replica got before it
# died is sent to another one, but for what writes: it could be done twice.
/^[[:space:]]*use_backend http-shelfcast /i\
    acl open_path path / /docs /openapi.json\
    acl open_path path_beg /v1/health/ /v2/health/ /web/\
    http-request set-var(txn.path) path\
    http-request disable-l7-retry if METH_POST { path,url_dec /v1/overrides }\
    http-request set-var(txn.replicas) nbsrv(http-shelfcast)\
    http-after-response set-status 503 if { status 502 504 }\
    http-request return status 429 content-type application/problem+json lf-string '{"type":"urn:shelfcast:problem:overload","title":"Too Many Requests","status":429,"detail":"Too many requests are being answered; ask again in a second.","instance":"%{-Q}[var(txn.path),json(utf8s)]","request_id":"%[unique-id]"}' hdr Retry-After 1 hdr X-Request-ID %[unique-id] hdr Cache-Control no-store hdr X-Content-Type-Options nosniff if !open_path { nbsrv(http-shelfcast) ge 1 } { be_conn(http-shelfcast),div(txn.replicas) ge 64 }
