# FunctionCall()
import moorage as modal

modal.FunctionCall()
