"""How notebooks are executed: for the other tools."""

from nbclient import NotebookClient
from nbclient.output_widget import OutputWidget


class SilentOutput(OutputWidget):
    """What an Output shows is kept for the page and not told to the kernel, which has no use for it.

    nbclient tells it through the socket where it waits for the kernel's reply, behind the back of that wait: a reply that
    arrives at the same moment goes unnoticed, and the run stands still for ever.
    """

    def send(self, *args, **kwargs):
        pass


def client(notebook, path, **options):
    """What executes `notebook` in the folder of `path`, in place, on the kernel of this environment."""
    made = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}, **options)
    made.widget_registry["@jupyter-widgets/output"]["OutputModel"] = SilentOutput
    return made


def keep_last_states(notebook):
    """Of a progress bar that overwrites itself only the last state stays."""
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
                kept[-1].text += output.text
            else:
                kept.append(output)
        if "outputs" in cell:
            cell.outputs = kept
        for output in kept:
            if output.output_type == "stream":
                output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in output.text.split("\n"))
