"""Attribution -> picture: heat-maps, contours, score curves, annotated movies, contact sheets.

`RENDERERS` lists what draws a map over frames; being listed means being tested.
"""

from vidence.render.renderer import ContourLines, Heatmap, HeatmapWithContours, Renderer

RENDERERS: dict[str, type[Renderer]] = {"heatmap": Heatmap, "contours": ContourLines, "both": HeatmapWithContours}

__all__ = ["RENDERERS", "ContourLines", "Heatmap", "HeatmapWithContours", "Renderer"]
