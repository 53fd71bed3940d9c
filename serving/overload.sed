# Adds to HAProxy's configuration, before the line that hands a request to the forecast API, that
# 64 requests (MAX_IN_FLIGHT of serving/deploy.py) are the most at once; pages and probes always pass.
/^[[:space:]]*use_backend http-shelfcast /i\
    acl open_path path / /docs /openapi.json\
    acl open_path path_beg /v1/health/ /v2/health/ /web/\
    http-request set-var(txn.refused) uuid() if !open_path { be_conn(http-shelfcast) ge 64 }\
    http-request return status 429 content-type application/problem+json lf-string '{"type":"urn:shelfcast:problem:overload","title":"Too Many Requests","status":429,"detail":"Too many requests are being answered; ask again in a second.","instance":"%[path,json(utf8s)]","request_id":"%[var(txn.refused)]"}' hdr Retry-After 1 hdr X-Request-ID %[var(txn.refused)] hdr Cache-Control no-store hdr X-Content-Type-Options nosniff if { var(txn.refused) -m found }
