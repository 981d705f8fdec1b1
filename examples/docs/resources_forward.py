"""A function that runs a server, and says where it can be reached."""

import socket

import moorage

app = moorage.App("time-server")


@app.function()
def serve() -> bytes:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        moorage.forward(server.getsockname()[1], unencrypted=True) as tunnel,
        socket.create_connection(tunnel.tcp_socket) as caller,
    ):
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"ten to nine")
        return caller.recv(100)


if __name__ == "__main__":
    with app.run():
        print(serve.remote().decode())
