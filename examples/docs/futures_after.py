"""The same with moorage."""

import hashlib

import moorage

app = moorage.App("digests")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=8)
def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


blocks = [b"bow", b"stern", b"keel"]
with app.run():
    print(list(digest.map(blocks)))
    call = digest.spawn(b"mast")
    print(call.get(timeout=10))
    print(sorted(digest.map(blocks, order_outputs=False)))
