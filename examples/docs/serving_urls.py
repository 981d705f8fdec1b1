"""A class with a parameter behind one URL: each set of values has its own containers."""

import urllib.request

import moorage

app = moorage.App("shop")


@app.cls()
@moorage.concurrent(max_inputs=100)
class Model:
    name: str = moorage.parameter(default="small")

    @moorage.enter()
    def load(self):
        self.greeting = f"hello from {self.name}"

    @moorage.fastapi_endpoint()
    async def greet(self, who: str = "you"):
        return f"{self.greeting}, {who}"


def read(url):
    with urllib.request.urlopen(url) as response:
        return response.read().decode()


with app.run():
    url = Model().greet.get_web_url()  # such as http://127.0.0.1:41234
    print(read(url))
    print(read(url + "/?name=large&who=me"))
    print(read(Model(name="large").greet.get_web_url()))
