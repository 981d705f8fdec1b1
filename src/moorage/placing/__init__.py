"""Placing: containers outside of this process.

A container of another process runs the same code as one in this process: `LocalContainer`
(``runtime/containers/local.py``), under a host that is a socket.  This folder owns both ends of
that socket, what crosses it, and how the processes begin and end.

    driver, which has the pools                 child, which has one container
    remote.py   RemoteContainer     <-frames->  host.py    ChildHost
                                                targets.py what a child runs
    both: frames.py (their form), channel.py (the socket), outbox.py (the order), post.py (the
    thread that reads), shipping.py (values as bytes), errors.py (errors as bytes)

Begin at ``frames.py``, whose head has the table of all messages; then ``remote.py``.
"""
