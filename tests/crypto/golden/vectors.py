#!/usr/bin/env python3
"""Computes the golden values of tests/crypto from the description of the format alone.

It shares no code with ckptfs or libsodium: AEGIS-256 and HChaCha20 are written out here, the rest
is the Python package `cryptography`. Run it in an empty folder: it prints what known_answer_test.cc
holds and writes self.pub, plain.key, sealed.key and manifest.minisig. Not run by the build.
"""

import base64
import functools
import hashlib
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

# --- AEGIS-256, draft-irtf-cfrg-aegis-aead ------------------------------------------------------


def make_sbox():
    sbox, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= (p << 1) & 255 ^ (0x1B if p & 0x80 else 0)
        for shift in (1, 2, 4):
            q ^= q << shift & 255
        q ^= 9 if q & 0x80 else 0
        sbox[p] = q ^ 0x63
        for shift in (1, 2, 3, 4):
            sbox[p] ^= (q << shift | q >> (8 - shift)) & 255
        if p == 1:
            return sbox


SBOX = make_sbox()


def xor(*blocks):
    return bytes(functools.reduce(lambda a, b: a ^ b, column) for column in zip(*blocks))


def both(a, b):
    return bytes(x & y for x, y in zip(a, b))


def double(a):
    return (a << 1 ^ (0x1B if a & 0x80 else 0)) & 255


def aes_round(block, key):
    out = []
    for c in range(4):
        a = [SBOX[block[4 * ((c + r) % 4) + r]] for r in range(4)]
        total = a[0] ^ a[1] ^ a[2] ^ a[3]
        out += [a[i] ^ total ^ double(a[i] ^ a[(i + 1) % 4]) for i in range(4)]
    return xor(out, key)


def update(s, message):
    return [aes_round(s[5], xor(s[0], message))] + [aes_round(s[i - 1], s[i]) for i in range(1, 6)]


def blocks(data):
    data += bytes(-len(data) % 16)
    return [data[i : i + 16] for i in range(0, len(data), 16)]


def aegis256(key, nonce, ad, message):
    """Ciphertext and 32-byte tag."""
    c0 = bytes.fromhex("000101020305080d1522375990e97962")
    c1 = bytes.fromhex("db3d18556dc22ff12011314273b528dd")
    k0, k1 = key[:16], key[16:]
    n0, n1 = xor(k0, nonce[:16]), xor(k1, nonce[16:])
    s = [n0, n1, c1, c0, xor(k0, c0), xor(k1, c1)]
    for m in 4 * (k0, k1, n0, n1):
        s = update(s, m)
    for block in blocks(ad):
        s = update(s, block)
    sealed = b""
    for block in blocks(message):
        sealed += xor(block, s[1], s[4], s[5], both(s[2], s[3]))
        s = update(s, block)
    t = xor(s[3], struct.pack("<QQ", len(ad) * 8, len(message) * 8))
    for _ in range(7):
        s = update(s, t)
    return sealed[: len(message)], xor(*s[:3]) + xor(*s[3:])


# --- XChaCha20-Poly1305, draft-irtf-cfrg-xchacha ------------------------------------------------


def hchacha20(key, nonce):
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def add_xor_turn(a, b, c, shift):
        s[a] = (s[a] + s[b]) & 0xFFFFFFFF
        s[c] ^= s[a]
        s[c] = (s[c] << shift | s[c] >> (32 - shift)) & 0xFFFFFFFF

    columns = [(i, 4 + i, 8 + i, 12 + i) for i in range(4)]
    diagonals = [(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)]
    for a, b, c, d in 10 * (columns + diagonals):
        add_xor_turn(a, b, d, 16)
        add_xor_turn(c, d, b, 12)
        add_xor_turn(a, b, d, 8)
        add_xor_turn(c, d, b, 7)
    return struct.pack("<8I", *s[:4], *s[12:])


def xchacha20poly1305(key, nonce, ad, message):
    """Ciphertext and 16-byte tag."""
    cipher = ChaCha20Poly1305(hchacha20(key, nonce[:16]))
    out = cipher.encrypt(bytes(4) + nonce[16:24], message, ad or None)
    return out[:-16], out[-16:]


# --- the format -----------------------------------------------------------------------------------


def blake2b(data, size, key=b""):
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def b64(data):
    return base64.b64encode(data).decode()


def frames():
    data_key = bytes(range(32))
    nonce = bytes(range(0xA0, 0xB0)) + struct.pack("<Q", 0x0102030405060708) + bytes(8)
    plain = bytes(i * 7 & 255 for i in range(100))
    page = bytes((i * 31 + i // 256) & 255 for i in range(4096))
    for suite in ("aegis256-blake3", "xchacha20poly1305-blake2b"):
        aegis = suite.startswith("aegis")
        for kind in ("pages", "table"):
            key = blake2b(f"ckptfs 1 {suite} {kind}".encode(), 32, data_key)
            seal = aegis256 if aegis else xchacha20poly1305
            text, tag = seal(key, nonce, b"", plain)
            print(suite, kind, text[:16].hex(), tag.ljust(32, b"\0").hex())
        key = blake2b(f"ckptfs 1 {suite} fingerprint".encode(), 32, data_key)
        fingerprint = aegis256(key, bytes(32), page, b"")[1][:16] if aegis else blake2b(page, 16, key)
        print(suite, "fingerprint", fingerprint.hex())


def key_files():
    seed, secret = bytes(range(1, 33)), bytes(range(33, 65))
    key_id = bytes.fromhex("0123456789abcdef")
    signing = Ed25519PrivateKey.from_private_bytes(seed)
    recipient = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    public = (
        f"untrusted comment: ckptfs public key {key_id[::-1].hex().upper()} (golden)\n"
        f"{b64(b'Ed' + key_id + signing.public_key().public_bytes_raw())}\n"
        f"recipient {b64(recipient)}\n"
    )

    def write(name, text):
        with open(name, "w", encoding="ascii") as file:
            file.write(text)

    def with_checksum(text):
        return f"{text}checksum {blake2b(text.encode(), 16).hex()}\n"

    write("self.pub", public)
    start = "ckptfs secret key 1\n" + public
    write("plain.key", with_checksum(f"{start}secret {b64(seed + secret)}\n"))

    salt, nonce = bytes(range(16)), bytes(range(100, 124))
    argon2 = Argon2id(salt=salt, length=32, iterations=2, lanes=1, memory_cost=8192)
    before = f"{start}sealed argon2id 2 {8192 * 1024} {b64(salt)} "
    text, tag = xchacha20poly1305(
        argon2.derive(b"correct horse"), nonce, before.encode(), seed + secret
    )
    write("sealed.key", with_checksum(f"{before}{b64(nonce + text + tag)}\n"))

    signature = signing.sign(blake2b(b'{"format":1}\n', 64))
    write(
        "manifest.minisig",
        f"untrusted comment: signature from ckptfs\n{b64(b'ED' + key_id + signature)}\n"
        "trusted comment: ckptfs manifest\n"
        f"{b64(signing.sign(signature + b'ckptfs manifest'))}\n",
    )


if __name__ == "__main__":
    frames()
    key_files()
