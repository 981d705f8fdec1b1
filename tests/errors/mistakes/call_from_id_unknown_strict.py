# a call with an unknown id
# strict
import moorage as modal

modal.FunctionCall.from_id("fc-123").get()
