# a call with an unknown id
import moorage as modal

modal.FunctionCall.from_id("fc-123").get()
