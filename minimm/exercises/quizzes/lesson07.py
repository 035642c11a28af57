"""Lesson 07: ViLT."""

from .._question import Choice, Number, Option, Slip

_PICTURES, _CAPTIONS, _MILLISECONDS = 1000, 5000, 15
_HOURS = _PICTURES * _CAPTIONS * _MILLISECONDS / 1000 / 3600

QUESTIONS = (
    Number(
        name="all_pairs",
        lesson="07",
        difficulty=1,
        minutes=3,
        prompt=f"""The test split of Flickr30k has {_PICTURES:,} pictures with five captions each. A pass of ViLT
over one picture and one sentence takes {_MILLISECONDS} ms, one after the other. How many hours until every caption
is ranked for every picture?""",
        answer=_HOURS,
        tolerance=0.2,
        unit="hours",
        right="""Each of the five million pairs is a pass of its own. The same passes serve both directions: for
captions of a picture one reads the rows of the matrix, for pictures of a caption its columns.""",
        wrong="""How many pairs of a picture and a caption are there? Each of them goes through the whole network.""",
        slips=(
            Slip((_PICTURES + _CAPTIONS) * _MILLISECONDS / 1000 / 3600,
                 "That is a pass for each picture and each caption, as of two towers. ViLT has no features to keep."),
            Slip(_PICTURES ** 2 * _MILLISECONDS / 1000 / 3600, "Each picture has five captions: how many are there?"),
            Slip(2 * _HOURS, "Both directions read the same matrix. Its entries are computed once."),
            Slip(_HOURS * 3600, "Those are seconds. How many of them make an hour?"),
        ),
    ),
    Choice(
        name="forgotten_mass",
        lesson="07",
        difficulty=2,
        minutes=4,
        prompt=r"""In an IPOT of your own you forget the $n$ in $\delta_j = \frac{1}{n\,(Q^\top\sigma)_j}$, so that
every $\delta_j$ is $n$ times too large. All else is right: after it comes $\sigma_i = \frac{1}{m\,(Q\delta)_i}$.
What becomes of the plan?""",
        options=(
            Option(
                "Nothing: the plan is the same.",
                r"""$\sigma$ comes out $n$ times too small, and $\sigma_i\, Q_{ij}\, \delta_j$ is what it was. What
is scaled last decides how much mass there is; the factor of the other side goes. The same holds for the first
$\sigma$: ones would do as well as $1/m$.""",
                right=True,
            ),
            Option(
                "Every entry is $n$ times too large: the plan carries more mass than there is.",
                r"""So it would be if nothing came behind. But $\sigma$ is computed from the wrong $\delta$, and
$\sigma_i = \frac{1}{m\,(Q\delta)_i}$ divides by it.""",
            ),
            Option(
                "Rows are right, columns are $n$ times too large.",
                "If all rows are right, all mass together is 1, and so is that of the columns: not all can be too"
                " large.",
            ),
            Option(
                "The iterations no longer converge.",
                r"""They converge as before. A common factor of all $\delta_j$ does not change how mass is divided
among the places, and $\sigma$ corrects the total in every iteration.""",
            ),
        ),
    ),
    Choice(
        name="softness_of_ipot",
        lesson="07",
        difficulty=2,
        minutes=5,
        prompt=r"""IPOT runs for 20 iterations with $\beta = 0.5$. Sinkhorn's method solves transport with an
entropy of weight $\varepsilon$. For which $\varepsilon$ does it give nearly the same plan?""",
        options=(
            Option(
                r"$\varepsilon = 0.5$: the same kernel $e^{-C/\beta}$.",
                r"""That is IPOT after its *first* iteration. Later ones multiply the kernel into the plan that
they find, again and again.""",
            ),
            Option(
                r"$\varepsilon = 0.05$.",
                r"""Count the kernels that have been multiplied in after $k$ iterations: $e^{-C/\beta}$ to the
power of $k$.""",
            ),
            Option(
                r"$\varepsilon = 0.025$.",
                r"""$\bigl(e^{-C/\beta}\bigr)^k = e^{-C/(\beta/k)}$, and $0.5/20 = 0.025$. The rest are factors of
rows and columns, which the margins determine. What is left of a difference: IPOT has scaled only once in each
iteration.""",
                right=True,
            ),
            Option(
                r"None: IPOT goes to the exact plan, Sinkhorn never does.",
                r"""In the limit, yes. After any finite number of iterations IPOT's plan is as soft as one of
Sinkhorn's.""",
            ),
        ),
        run="Run `for e in (0.5, 0.05, 0.025, 0.0125): "
        "print(e, (plan_of(cost, 0.5, 20) - sinkhorn(cost, e)).abs().max().item())` in a new cell.",
    ),
)
