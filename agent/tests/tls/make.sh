#!/bin/sh
# Makes the certificates of the tests anew: two authorities, and of each a certificate for 127.0.0.1. Good for a century, and
# for nothing else. Ours also signs one whose time is over.
set -eu
cd "$(dirname "$0")"
key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
sign() {
    openssl x509 -req -in request.pem -CA "$authority-ca.pem" -CAkey ca.key -CAcreateserial -days "$1" \
        -extfile extensions -out "$2"
}
for authority in ours others; do
    key ca.key
    openssl req -x509 -new -key ca.key -days 36500 -subj "/CN=Wellhead tests, $authority" -out "$authority-ca.pem"
    key "$authority-key.pem"
    openssl req -new -key "$authority-key.pem" -subj /CN=test -out request.pem
    printf 'subjectAltName=IP:127.0.0.1\n' >extensions
    sign 36500 "$authority-cert.pem"
    if [ "$authority" = ours ]; then
        # With the same key.
        sign 0 ours-expired-cert.pem
    fi
    rm -f ca.key request.pem extensions ./*.srl
done
