"""A WSGI application: each request runs on a thread, and the slots bound the threads."""

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import moorage

app = moorage.App("reports")


@app.function()
@moorage.concurrent(max_inputs=20)
@moorage.wsgi_app()
def reports():
    def application(environ, start_response):
        time.sleep(0.1)  # such as a query to a database
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"report ", environ["QUERY_STRING"].encode()]

    return application  # or a Flask() or Django application


def read(url):
    with urllib.request.urlopen(url) as response:
        return response.read().decode()


with app.run():
    url = reports.get_web_url()
    with ThreadPoolExecutor(20) as clients:
        print(list(clients.map(read, [f"{url}/?{number}" for number in range(20)]))[-1])
    print(reports.statistics().containers_started, "container")
