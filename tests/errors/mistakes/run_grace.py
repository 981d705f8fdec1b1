# a grace below 0
import moorage

app = moorage.App()


with app.run(grace=-1):
    pass
