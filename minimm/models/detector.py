"""Faster R-CNN for small pictures: Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with Region
Proposal Networks".

A network proposes boxes at every place of a feature map; what the map shows in each is cut out; a second network says
what it is and moves the box. Both networks are torchvision's. Attribute heads are added, as in bottom-up attention
(Anderson et al. 2018, section 3.1), whose regions ViLBERT reads: what names the colour has to be in the features.

Letters: b pictures, t true boxes at most, n boxes of all pictures together, d width of the feature map, f width of a
region's features, r regions, c classes. Class 0 is "nothing", as torchvision has it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, batched_nms, clip_boxes_to_image

from .._errors import expect
from ..layers import ConvStem, check_images, check_numbers


@dataclass(frozen=True)
class DetectorConfig:
    """Sizes and settings of a Detector."""

    image: int = 64  # pixels; pictures are square
    classes: int = 25  # "nothing" among them
    colours: int = 7
    sizes: int = 2  # how many sizes things come in
    width: int = 64  # of the feature map
    stride: int = 4  # pixels from one place of the feature map to the next
    anchors: tuple = (16, 24)  # sides of the squares from which proposals start, in pixels
    proposals: tuple = (50, 30)  # a picture, in training and after it
    pooled: int = 5  # a box is cut out of the feature map as so many places by so many
    features: int = 128  # of a region
    rpn_samples: int = 64  # anchors and ...
    roi_samples: int = 16  # ... proposals a picture that a training step looks at, half of them on things if possible
    regions: int = 6  # kept of a picture, at most
    min_score: float = 0.2  # of a region that is kept; the best one of a picture always is
    overlap: float = 0.3  # of boxes that overlap by more (intersection over union) the best one is kept


class Backbone(nn.Module):
    """Five convolutions: `b 3 h w -> b d h/stride w/stride`."""

    def __init__(self, width, stride):
        super().__init__()
        self.out_channels, self.stride = width, stride  # torchvision asks for the first
        self.stem = ConvStem(width, stride)

    def forward(self, images):
        return rearrange(self.stem(images), "b (r c) d -> b d r c", r=images.shape[2] // self.stride)


class Detector(nn.Module):
    """Pictures to regions, in the form that `models.vilbert.ViLBERT` takes."""

    def __init__(self, config=DetectorConfig()):
        super().__init__()
        c = self.config = config
        train, test = c.proposals
        self.rcnn = FasterRCNN(
            Backbone(c.width, c.stride), min_size=c.image, max_size=c.image, image_mean=[0, 0, 0], image_std=[1, 1, 1],
            rpn_anchor_generator=AnchorGenerator((c.anchors,), ((1.0,),)), rpn_batch_size_per_image=c.rpn_samples,
            # Anchors stand 4 pixels apart: few of them reach the usual 0.7 with a box of 16.
            rpn_fg_iou_thresh=0.6, rpn_pre_nms_top_n_train=2 * train, rpn_post_nms_top_n_train=train,
            rpn_pre_nms_top_n_test=2 * test, rpn_post_nms_top_n_test=test,
            # One sample a place is enough: a box has about as many places of the map as are cut out of it.
            box_roi_pool=MultiScaleRoIAlign(["0"], c.pooled, sampling_ratio=1),
            box_head=TwoMLPHead(c.width * c.pooled ** 2, c.features),
            box_predictor=FastRCNNPredictor(c.features, c.classes),
            box_batch_size_per_image=c.roi_samples, box_positive_fraction=0.5)
        self.colour = nn.Linear(c.features, c.colours)
        self.size = nn.Linear(c.features, c.sizes)

    def maps(self, images):
        """The feature map `b d h w`, under the name that torchvision gives it, and the pictures as torchvision's
        networks take them. Raises what `layers.check_images` raises."""
        side = self.config.image
        check_images(images, side, side)
        # Boxes and what is cut out along them are computed in float32, whatever autocast says.
        return {"0": self.rcnn.backbone(images).float()}, ImageList(images, [(side, side)] * len(images))

    def features(self, maps, boxes, images):
        """The features of boxes, `n f`; boxes: a tensor `. 4` for each picture."""
        heads = self.rcnn.roi_heads
        return heads.box_head(heads.box_roi_pool(maps, boxes, images.image_sizes))

    def check_targets(self, batch):
        """Which of the true boxes of a batch are real, `b t` of bool. Raises a clear error unless all tensors fit."""
        boxes, labels, b = batch["boxes"], batch["labels"], len(batch["images"])
        expect(boxes.ndim == 3 and boxes.shape[::2] == (b, 4) and boxes.is_floating_point(), "boxes",
               f"{boxes.dtype} of shape {tuple(boxes.shape)}", f"floating point of shape ({b}, t, 4)")
        for name, below in (("labels", self.config.classes), ("colours", self.config.colours),
                            ("sizes", self.config.sizes)):
            expect(batch[name].shape == boxes.shape[:2], name, f"shape {tuple(batch[name].shape)}",
                   f"shape {tuple(boxes.shape[:2])}")
            check_numbers(batch[name].flatten(), labels.numel(), below, name)
        real = labels > 0
        expect(bool(real.any()), "labels", "0 everywhere", "a real box in the batch")
        low, high = boxes[real].split(2, dim=1)
        expect(bool(((0 <= low) & (low < high) & (high <= self.config.image)).all()), "boxes",
               "empty ones, or some that reach out of the picture", "x0 < x1 and y0 < y1 within the picture")
        return real

    def loss(self, batch):
        """{"objectness", "proposals", "classes", "boxes", "colours", "sizes"}: the first two of the network that
        proposes, the last two from the features of the true boxes.

        batch: images `b 3 h w`; boxes `b t 4`: x0 y0 x1 y1 in pixels; labels `b t`: 0 where there is no more box;
        colours, sizes `b t`. Raises TypeError or ValueError for tensors that do not fit, and ValueError in evaluation
        mode, where torchvision's networks have no loss.
        """
        expect(self.training, "detector", "evaluation mode", "training mode: call detector.train()")
        maps, images = self.maps(batch["images"])
        real = self.check_targets(batch)
        targets = [{"boxes": boxes[mask], "labels": labels[mask]}
                   for boxes, labels, mask in zip(batch["boxes"], batch["labels"], real)]
        with torch.autocast(real.device.type, enabled=False):
            proposals, first = self.rcnn.rpn(images, maps, targets)
            _, second = self.rcnn.roi_heads(maps, proposals, images.image_sizes, targets)
            features = self.features(maps, [target["boxes"] for target in targets], images)
            return {"objectness": first["loss_objectness"], "proposals": first["loss_rpn_box_reg"],
                    "classes": second["loss_classifier"], "boxes": second["loss_box_reg"],
                    "colours": F.cross_entropy(self.colour(features), batch["colours"][real]),
                    "sizes": F.cross_entropy(self.size(features), batch["sizes"][real])}

    @torch.no_grad()
    def regions(self, images):
        """The best regions of pictures `b 3 h w`, the best one first: a mapping.

        "regions": features `b r f`, of the proposals; "boxes": `b r 4`, where these were moved to; "region_mask": `b r`
        of bool, True for at least one a picture, the rest is padding of 0; "region_classes": distributions `b r c`.
        Raises what `layers.check_images` raises, and ValueError in training mode.
        """
        expect(not self.training, "detector", "training mode", "evaluation mode: call detector.eval()")
        c, b, device, heads = self.config, len(images), images.device, self.rcnn.roi_heads
        maps, images = self.maps(images)
        with torch.autocast(device.type, enabled=False):
            # The whole picture is proposed too: then none is without a region.
            whole = torch.tensor([[0.0, 0.0, c.image, c.image]], device=device)
            proposals = [torch.cat([boxes, whole]) for boxes in self.rcnn.rpn(images, maps)[0]]
            features = self.features(maps, proposals, images)
            logits, moves = heads.box_predictor(features)
        classes = logits.softmax(-1)
        scores, best = classes[:, 1:].max(-1)
        boxes = heads.box_coder.decode(moves, proposals)[torch.arange(len(best), device=device), 1 + best]  # n 4
        boxes = clip_boxes_to_image(boxes, (c.image, c.image))
        picture = torch.cat([torch.full((len(own),), i, device=device) for i, own in enumerate(proposals)])  # n

        kept = batched_nms(boxes, scores, picture, c.overlap)  # from the best of all pictures to the worst
        rows = torch.zeros(b, c.regions, dtype=torch.int64, device=device)
        mask = torch.zeros(b, c.regions, dtype=torch.bool, device=device)
        for i in range(b):
            own = kept[picture[kept] == i][:c.regions]
            rows[i, :len(own)] = own
            mask[i, :len(own)] = scores[own] >= c.min_score
        mask[:, 0] = True
        found = {"regions": features, "boxes": boxes, "region_classes": classes}
        return {"region_mask": mask, **{name: t[rows].masked_fill(~mask[..., None], 0) for name, t in found.items()}}
