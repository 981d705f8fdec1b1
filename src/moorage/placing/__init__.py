"""Placing: containers outside of this process.

A container of another process runs the same code as one in this process: `LocalContainer`
(``runtime/containers/local.py``), under a host that is a socket.  This folder owns both ends of
that socket, what crosses it, and how the processes begin and end.

    driver, which has the pools                 child, which has one container
    remote.py   RemoteContainer     <-frames->  host.py    ChildHost
                                                targets.py what a child runs
    both: frames.py (their form), channel.py (the socket), outbox.py (the order), post.py (the
    thread that reads), shipping.py (values as bytes), errors.py (errors as bytes)

    placements.py, placed.py (which containers are processes, and how a pool makes them)
    process.py  one process          processes.py what starts them
    zygote.py   forks children       child.py     a child's life, package.py the rest of moorage
    both: blueprints.py (code as bytes), world.py (what SETUP says)

Begin at ``frames.py``, whose head has the table of all messages; then ``remote.py``.
"""
