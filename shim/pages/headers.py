"""Headers that keep a browser from loading anything from elsewhere into a page of ours."""

PAGE_HEADERS = {
    # Swagger UI's page starts it by an inline script; its icons are data URLs.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
