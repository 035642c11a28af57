"""The controls below a question: buttons or a field for the answer, and what is said to it."""

import ipywidgets as widgets

from ._question import Choice


class Panel:
    """`box` is to be shown. Every control is an ordinary button or field: Tab reaches it, Space or Enter presses it.

    `answered()` is called when a question was answered right, or a prediction was compared with what came; what it
    returns is shown as well.
    """

    def __init__(self, question, answered):
        self.question, self.answered = question, answered
        self.prediction = None  # of an experiment, until it is compared
        self.open = not question.run  # whether answers are judged at once
        self.said = widgets.Output()
        self.buttons, self.entry = {}, None
        if isinstance(question, Choice):
            for letter in question.letters:
                button = widgets.Button(description=letter, tooltip=f"Answer {letter}", layout={"width": "4em"})
                button.on_click(lambda button: self.answer(button.description))
                self.buttons[letter] = button
            controls = list(self.buttons.values())
        else:
            self.entry = widgets.Text(
                description="Answer", placeholder="a number", continuous_update=False,
                layout={"width": "14em"}, style={"description_width": "4em"},
            )
            self.entry.observe(lambda change: change["new"].strip() and self.answer(change["new"]), "value")
            check = widgets.Button(description="Predict" if question.run else "Check", layout={"width": "6em"})
            check.on_click(lambda _: self.answer(self.entry.value))
            self.buttons["check"] = check
            controls = [self.entry, widgets.Label(question.unit), check]
        self.compare = widgets.Button(description="I have run it: compare", disabled=True, layout={"width": "14em"})
        self.compare.on_click(lambda _: self.tell())
        if question.run:
            controls.append(self.compare)
        self.box = widgets.VBox([widgets.HBox(controls), self.said])

    def answer(self, given):
        try:
            response = self.question.respond(given)
        except ValueError:
            self._say("Type a number first, such as 0.25 or 1e-3.")
            return
        if self.open:
            self._mark(given, response)
            self._say(response.text, self.answered() if response.right else "")
        else:
            self.prediction, self.compare.disabled = given, False
            self._say(f"You predict **{str(given).strip()}**. {self.question.run} Then press *{self.compare.description}*.")

    def tell(self):
        """Compare the prediction; if it was wrong, tell the right answer as well: what came shows it anyway."""
        self.open = self.compare.disabled = True
        response = self.question.respond(self.prediction)
        self._mark(self.prediction, response)
        better = "" if response.right else self.question.respond(self.question.solution).text
        self._say(response.text, better, self.answered())

    def _mark(self, given, response):
        if given in self.buttons:
            self.buttons[given].button_style = "success" if response.right else "danger"

    def _say(self, *paragraphs):
        markdown = "\n\n".join(filter(None, paragraphs))
        data = {"text/markdown": markdown, "text/plain": markdown}
        self.said.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)
