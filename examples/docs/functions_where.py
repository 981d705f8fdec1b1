"""Where code runs: .local() here, .remote() in a container."""

import moorage

app = moorage.App("functions")


@app.function()
def where() -> str:
    if moorage.is_local():
        return "here"
    call = moorage.current_function_call_id() or ""
    return f"in a container, in a call whose id begins with {call[:3]}"


with app.run():
    print(where.local())
    print(where.remote())
